"""`conan create` builds the programs of tests/consumers/find_package with the package, and runs them."""

import os

from conan import ConanFile
from conan.tools.build import can_run
from conan.tools.cmake import CMake, cmake_layout


class Consumer(ConanFile):
    settings = "os", "arch", "compiler", "build_type"
    generators = "CMakeDeps", "CMakeToolchain"

    def requirements(self):
        self.requires(self.tested_reference_str)

    def layout(self):
        cmake_layout(self)

    def build(self):
        cmake = CMake(self)
        cmake.configure(build_script_folder=os.path.join(self.recipe_folder, "../../../tests/consumers/find_package"))
        cmake.build()

    def test(self):
        if can_run(self):
            for program in ("program_c", "program_cpp"):
                self.run(os.path.join(self.cpp.build.bindir, program), env="conanrun")
