// SPDX-License-Identifier: Apache-2.0
// sentencepiece follows a model's map of characters without looking where it leads: a damaged one makes it read
// anywhere in memory. Checked here before sentencepiece gets it.
#pragma once

#include <string_view>

namespace dualparal {

/// The map itself: 4 bytes with the size of a trie, the trie (a double array of Darts-clone, 4 bytes a unit), then the
/// texts, each ended by a zero, that its values point to. Error if anything in it points outside. An empty one is none.
void check_character_map(std::string_view map);

/// The same for the maps in a sentencepiece model (a ModelProto, serialized). Error, too, if it is cut off.
void check_character_maps_of_model(std::string_view model);

}  // namespace dualparal
