"""Build script of the stand-in for PlatformIO's `native` platform: this computer's own compiler.

Runs inside SCons as PlatformIO starts it; see prepare_core.py.
"""

import os
import subprocess

from SCons.Script import Default, DefaultEnvironment

env = DefaultEnvironment()
env.Replace(
    PROGNAME="program",
    SIZETOOL="size",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
)
if os.environ.get("CXX"):  # the compiler that `make firmware` would take
    env.Replace(CXX=os.environ["CXX"], LINK=os.environ["CXX"])

program = env.BuildProgram()


def run_program(target, source, env):
    """Runs the program until it ends; its exit status is the target's."""
    return subprocess.call([str(source[0])])


for name, title in (("exec", "Execute"), ("upload", "Upload")):
    env.AddPlatformTarget(
        name, program, [env.VerboseAction(run_program, "Running $SOURCE")], title, ""
    )
env.AddPlatformTarget(
    "size", program, env.VerboseAction("$SIZEPRINTCMD", "Size of $SOURCE"), "Size", ""
)
Default([program])
