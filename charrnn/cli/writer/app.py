"""The application: the desk, until it is left or a signal ends it."""

from collections.abc import Callable

from textual.app import App

from charrnn.api import Model
from charrnn.cli.writer.desk import Desk
from charrnn.cli.writer.dialogs import Choice
from charrnn.cli.writer.hidden import reveal
from charrnn.cli.writer.state import DraftFile, Settings


class Writer(App[bool]):
    """`charrnn write`: a draft, and continuations of it. The result is True if it was left by its keys."""

    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    CSS = """
    Screen { layout: vertical; }
    #top { height: 1; }
    #title { width: 1fr; height: 1; text-style: bold; }
    #settings { width: auto; text-style: dim; }
    Editor { height: 1fr; border: none; padding: 0 1; background: ansi_default; color: ansi_default; }
    Editor:focus { border: none; }
    Editor { scrollbar-size: 1 1; }
    Editor .text-area--cursor { text-style: reverse; background: ansi_default; color: ansi_default; }
    Editor .text-area--selection { text-style: reverse; background: ansi_default; color: ansi_default; }
    #offers { height: auto; max-height: 11; display: none; border-top: solid ansi_default; }
    #status { height: auto; max-height: 3; display: none; text-style: italic; }
    #hint { height: 1; text-style: dim; }
    ModalScreen { align: center middle; background: transparent; }
    #box { background: ansi_default; border: solid ansi_default; padding: 0 1; }
    #box { width: 72; max-width: 100%; height: auto; max-height: 100%; }
    .key { height: auto; }
    .name { width: 21; }
    .meaning { width: 1fr; }
    """

    def __init__(self, model: Model, file: DraftFile, settings: Settings) -> None:
        """Edit the draft of a file with continuations by a model."""
        # The terminal's own colours, as in the explorer.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.desk = Desk(model, file, file.draft.text, settings)
        self._is_end_asked: Callable[[], bool] | None = None

    def on_mount(self) -> None:
        """Show the desk."""
        self.push_screen(self.desk)
        if self._is_end_asked is not None:
            self.set_interval(0.1, self._heed)  # seconds
        self.call_later(self.desk.ask_about_recovery)

    def run_until(self, is_end_asked: Callable[[], bool]) -> bool:
        """Run until the editor is left or `is_end_asked` returns true; return whether its keys left it."""
        self._is_end_asked = is_end_asked
        return bool(self.run())

    def finish(self) -> None:
        """End the work; call this when the interface is closed. Raises the error that closed it, if there was one."""
        self.desk.worker.close()
        if self.desk.failure is not None:
            raise self.desk.failure

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text; that of the draft with the author's own characters."""
        super().copy_to_clipboard(reveal(text) if self.screen is self.desk else text)

    async def action_quit(self) -> None:
        """Quit from any screen; ask first if something is not saved."""
        if not isinstance(self.screen, Choice):
            self.desk.action_leave()

    def action_help_quit(self) -> None:
        """Quit by Ctrl-C from a dialog, as by Ctrl-Q."""
        if not isinstance(self.screen, Choice):
            self.desk.action_leave()

    def _heed(self) -> None:
        if self._is_end_asked is not None and self._is_end_asked():
            self.exit(False)
