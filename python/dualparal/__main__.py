# SPDX-License-Identifier: Apache-2.0
"""python -m dualparal ARGUMENTS: the program."""
from .program import main

main()
