#!/usr/bin/env python3
"""GIMP 3: put this folder into plug-ins/; the command `golf` must be installed. Filters > Enhance > Deblur."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def command() -> str:
    """Return where `golf` is; programs started from a desktop often lack the folder that pip installs to."""
    found = shutil.which("golf") or shutil.which("golf", path=str(Path.home() / ".local" / "bin"))
    if found is None:
        raise RuntimeError("The command golf was not found; pip install golfdeblur, and start GIMP anew.")
    return found


def deblur(source: Path, target: Path) -> None:
    """Let `golf deblur` write `target`. Raises RuntimeError with its sentence where it fails."""
    run = subprocess.run([command(), "deblur", source, "-o", target, "--quiet"], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr.strip() or "golf deblur failed.")


def main() -> None:
    """Register the plug-in with GIMP, which starts this file."""
    import gi

    gi.require_version("Gimp", "3.0")
    from gi.repository import Gimp, Gio, GLib

    class GolfDeblur(Gimp.PlugIn):
        def do_query_procedures(self):
            return ["plug-in-golfdeblur"]

        def do_set_i18n(self, name):
            return False

        def do_create_procedure(self, name):
            procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, run, None)
            procedure.set_image_types("RGB*, GRAY*")
            procedure.set_menu_label("Deblur (golfdeblur)")
            procedure.add_menu_path("<Image>/Filters/Enhance")
            procedure.set_documentation("Takes motion blur out", "Puts the deblurred layer above it.", name)
            return procedure

    def run(procedure, run_mode, image, drawables, config, data):
        if len(drawables) != 1:
            return failed(procedure, "Choose one layer.")
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "layer.png", Path(folder) / "deblurred.png"
            size = drawables[0].get_width(), drawables[0].get_height()
            alone = Gimp.Image.new_with_precision(*size, image.get_base_type(), image.get_precision())
            alone.set_color_profile(image.get_color_profile())
            copy = Gimp.Layer.new_from_drawable(drawables[0], alone)
            alone.insert_layer(copy, None, 0)
            copy.set_offsets(0, 0)
            Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, alone, Gio.File.new_for_path(str(source)), None)
            alone.delete()
            try:
                deblur(source, target)
            except RuntimeError as error:
                return failed(procedure, str(error))
            made = Gimp.file_load_layer(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(target)))
        made.set_name("Deblurred")
        _, x, y = drawables[0].get_offsets()
        image.undo_group_start()
        image.insert_layer(made, drawables[0].get_parent(), image.get_item_position(drawables[0]))
        made.set_offsets(x, y)
        image.undo_group_end()
        Gimp.displays_flush()
        return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, GLib.Error())

    def failed(procedure, sentence):
        return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, GLib.Error(sentence))

    Gimp.main(GolfDeblur.__gtype__, sys.argv)


if __name__ == "__main__":
    main()
