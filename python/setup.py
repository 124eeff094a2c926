# SPDX-License-Identifier: Apache-2.0
"""What the wheel says of itself that only the build knows; tools/run/wheel.sh sets the variables."""
import os

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel


class Wheel(bdist_wheel):
    """Any Python 3, but one platform: it carries a program and libraries, no extension module."""

    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        return "py3", "none", os.environ["DUALPARAL_PLATFORM"]


setup(version=os.environ["DUALPARAL_VERSION"], install_requires=os.environ["DUALPARAL_REQUIRES"].split(),
      cmdclass={"bdist_wheel": Wheel})
