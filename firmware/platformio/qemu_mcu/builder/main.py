"""Build script of the emulated boards. Runs inside SCons as PlatformIO starts it.

Everything about a board is in firmware/boards/NAME.json, which CMake reads as well; the environment
in platformio.ini names it by `custom_board`. Targets: the default builds the image, `upload` starts
the emulator with it and prints the port, `stop` ends that emulator, `size` prints the image's size.
"""

import shutil
import sys
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, Default, DefaultEnvironment

env = DefaultEnvironment()
sys.path.insert(0, str(Path(env.PioPlatform().get_dir()).resolve()))
import emulator  # noqa: E402 (beside this folder)

REPO = Path(env.subst("$PROJECT_DIR"))
FOLDER = REPO / "firmware" / "boards"
NAME = env.GetProjectOption("custom_board")
BOARD = emulator.read_board(FOLDER / f"{NAME}.json")
# Not the build folder, which PlatformIO empties whenever a source file is added: the emulator's process
# number and its flash must outlive that.
STATE = Path(env.subst("$PROJECT_WORKSPACE_DIR")) / "emulator" / env.subst("$PIOENV")

compiler = BOARD["compiler"]
prefix = compiler["prefix"]
if "/" in prefix:  # relative to the project: built by `make toolchain`
    prefix = str(REPO / prefix)
if shutil.which(prefix + "g++") is None:
    how = (
        "sudo apt-get install " + compiler["package"]
        if "package" in compiler
        else compiler["target"]
    )
    sys.stderr.write(
        f"error: {prefix}g++, which builds {NAME}, was not found; get it with: {how}\n"
    )
    env.Exit(1)

flags = BOARD["compile_flags"]
only_cxx = [f for f in flags if f.startswith(("-std", "-fno-rtti", "-nostdinc++"))]
only_cxx += [f for f in flags if f in ("-fno-threadsafe-statics", "-fno-use-cxa-atexit")]
both = [f for f in flags if f not in only_cxx]
env.Replace(
    AR=prefix + "ar",
    AS=prefix + "as",
    CC=prefix + "gcc",
    CXX=prefix + "g++",
    LINK=prefix + "g++",
    OBJCOPY=prefix + "objcopy",
    RANLIB=prefix + "ranlib",
    SIZETOOL=prefix + "size",
    ARFLAGS=["rc"],
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
    LDSCRIPT_PATH=str(FOLDER / BOARD["linker_script"]),
)
env.Append(
    ASPPFLAGS=both,
    CCFLAGS=both,
    CXXFLAGS=only_cxx,
    CPPPATH=[str(REPO / "firmware" / "lib"), str(FOLDER)],
    CPPDEFINES=[
        (key, env.StringifyMacro(value) if isinstance(value, str) else value)
        for key, value in BOARD["defines"].items()
    ],
    LINKFLAGS=[*BOARD["link_flags"], "-Wl,-L" + str((FOLDER / BOARD["linker_script"]).parent)],
    LIBS=[library.removeprefix("-l") for library in BOARD["libraries"]],
)
startup_filter = " ".join(f"+<{source}>" for source in BOARD["startup"])
env.BuildSources("$BUILD_DIR/startup", str(FOLDER), "-<*> " + startup_filter)
image = env.BuildProgram()


def upload(target, source, env):
    """Starts the emulator with the image just built, in the background."""
    return emulator.start(BOARD, Path(str(source[0])), STATE, env.subst("$UPLOAD_PORT"))


def stop(target, source, env):
    """Ends the emulator that `upload` started, if there is one."""
    return emulator.stop(STATE)


env.AddPlatformTarget(
    "upload",
    image,
    [env.VerboseAction(upload, "Starting the emulator with $SOURCE")],
    "Upload",
    "Start the emulator with the image and print its port",
)
env.AddPlatformTarget(
    "stop", None, [env.VerboseAction(stop, "Stopping the emulator")], "Stop", "Stop the emulator"
)
env.AddPlatformTarget(
    "size",
    image,
    env.VerboseAction("$SIZEPRINTCMD", "Size of $SOURCE"),
    "Size",
    "Size of the image",
)
if "stop" not in COMMAND_LINE_TARGETS:
    Default([image])
