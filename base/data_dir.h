// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

namespace dualparal {

/// Folder with configs/ and models/: the sources', in a bundle the program's own, where it was installed
/// share/dualparal.
std::filesystem::path data_dir();
/// The folder of the model that comes with the program.
std::filesystem::path embedded_model();

/// A path of the caller's; one that is not there but in data_dir() (configs/models/wan2.1-t2v-1.3b, say), in that.
std::filesystem::path project_path(const std::filesystem::path& given);

/// A YAML file of the project's by its name ("8x-h100", of those in `folder`, as configs/clusters), or any other by its
/// path: what ends with .yaml, from `beside`. `what` is the kind of thing that it names ("cluster"). Error if there is
/// no such file; UsageError with the names that there are if there is no such name.
std::filesystem::path named_yaml(const std::string& what, const std::filesystem::path& folder, const std::string& name,
                                 const std::filesystem::path& beside = {});

}  // namespace dualparal
