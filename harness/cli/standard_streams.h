// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace dualparal {

/// Call before any file is opened. A standard descriptor that is closed is opened on /dev/null: the next file would get
/// its number, and with it what is meant for the terminal. A file that grows beyond a limit (SIGXFSZ) becomes an error
/// of writing, as a full disk is.
void prepare_standard_streams();

/// The exit code of a program that would end with `code`: 1 with a word on standard error if what it printed was lost.
int finish_standard_output(int code);

}  // namespace dualparal
