// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace dualparal {

struct BenchOptions {
  std::string experiment;        ///< a YAML file, or the name of one in configs/experiments
  std::filesystem::path output;  ///< folder; empty: results/<name>, of a shard results/<name>.2-of-4, in the
                                 ///< working directory
  bool retry_failed = false;
  bool restart = false;  ///< set results that are there aside and begin anew
  int64_t jobs = 0;      ///< traced points at the same time; 0: as many as the machine has processors. Others run alone
  bool quiet = false;
  bool dry_run = false;                ///< list the points on standard output, run none
  std::string shard = {};              ///< "2/4": the second of four shards of the points alone; empty: all
  std::vector<std::string> only = {};  ///< conditions "flag=value": the other points are left alone
};

/// `dualparal bench`: runs every point of an experiment, each in a fresh process, appends each result line to
/// results.jsonl as it is done, and writes report.md. All points are checked first. Run again, it does what is missing.
/// Returns the number of points that failed.
int64_t run_bench(const BenchOptions& options);

}  // namespace dualparal
