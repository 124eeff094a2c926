// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE dualparal
#include "tests/testing.h"
