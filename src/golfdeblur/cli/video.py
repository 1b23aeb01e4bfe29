"""`golf video`: a blurry clip in, a sharper one out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from golfdeblur import DEFAULT_MODEL
from golfdeblur.cli.app import (
    ForceOption,
    MemoryOption,
    ModelOption,
    QuietOption,
    RuntimeOption,
    StepsOption,
    StrengthOption,
    ThreadsOption,
    app,
    check_new,
    interrupts_remembered,
    needs_extra,
)
from golfdeblur.engine.budget import parse_size
from golfdeblur.golf import STEPS


@app.command("video")
def video_command(
    clip: Annotated[Path, typer.Argument(help="The video.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The result: .mp4, .m4v, .mov, .mkv or .webm. NAME-deblurred if left out."),
    ] = None,
    start: Annotated[float, typer.Option(help="Begin here, in seconds.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="End here, in seconds.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Write the input beside the result.")] = False,
    keep_sharp: Annotated[
        bool, typer.Option("--keep-sharp", help="Leave frames that are not blurred, or get no sharper, as they are.")
    ] = False,
    model: ModelOption = DEFAULT_MODEL,
    steps: StepsOption = STEPS,
    strength: StrengthOption = 1.0,
    runtime: RuntimeOption = "auto",
    max_memory: MemoryOption = None,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a sharper copy of a video (needs the extra `video`).

    Sound, subtitles, time stamps and colour are kept; no temporary pictures are written. After Ctrl-C what is done
    stays as a file that plays.
    """
    with needs_extra("video"):
        from golfdeblur import video
        from golfdeblur.engine.passes import check_strength
        from golfdeblur.files.picture import Picture
        from golfdeblur.model import load
        from golfdeblur.sharpness import why_keep
    check_strength(strength)
    output = output or video.default_output(clip)
    output.parent.mkdir(parents=True, exist_ok=True)
    check_new(output, force=force)
    cut = video.Cut(start, end)
    loaded = load(model, runtime=runtime, max_memory=None if max_memory is None else parse_size(max_memory))
    kept = 0

    def restored(picture: Picture) -> Picture:
        nonlocal kept
        made = loaded.restore(picture, steps=steps, strength=strength)
        if keep_sharp and why_keep(loaded, picture, made) is not None:
            kept += 1
            return picture
        return made.picture

    with interrupts_remembered() as interrupted, _Bar(quiet=quiet) as bar:

        def seen(frame: int, total: int | None) -> None:
            bar.seen(frame, total)
            if interrupted:
                raise KeyboardInterrupt

        def told(left_out: list[str]) -> None:
            for what in left_out:
                print(f"golf: left out: {what}", file=sys.stderr)

        report = video.deblur_video(
            video.restorer(restored), clip, output, cut=cut, preview=preview, seen=seen, told=told
        )
    for what in report.passed:
        print(f"golf: {what}, passed unchanged or was left out", file=sys.stderr)
    if not quiet:
        before, after = report.jitter
        count = "1 frame" if report.frames == 1 else f"{report.frames} frames"
        count += f", {kept} of them sharp and left as they were" if keep_sharp else ""
        print(f"{output}  {count}, brightness flicker {after:.2f} grey levels (input {before:.2f})")


class _Bar:
    """A bar with the time that is left, on a terminal only."""

    def __init__(self, *, quiet: bool) -> None:
        self.shown = not quiet and sys.stderr.isatty()

    def __enter__(self) -> _Bar:
        if self.shown:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = [
                TextColumn("Deblurring"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            ]
            self.progress = Progress(*columns, console=Console(stderr=True))
            self.task = self.progress.add_task("", total=None)
            self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.shown:
            self.progress.stop()

    def seen(self, frame: int, total: int | None) -> None:
        """Show that `frame` of `total` is done."""
        if self.shown:
            self.progress.update(self.task, completed=frame, total=total)
