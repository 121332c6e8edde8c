"""The application: the screen of the draft, until it is left or a signal ends it."""

from charrnn.api import Model
from charrnn.apps.dialogs import Choice
from charrnn.apps.full_screen import FullScreenApp
from charrnn.apps.write.draft_screen import DraftScreen
from charrnn.apps.write.hidden import reveal
from charrnn.apps.write.state import DraftFile, Settings


class Writer(FullScreenApp[bool]):
    """`charrnn write`: a draft, and continuations of it. The result is True if it was left by its keys."""

    CSS = (
        FullScreenApp.CSS
        + """
    #settings { width: auto; }
    Editor { height: 1fr; border: none; padding: 0 1; background: ansi_default; color: ansi_default; }
    Editor:focus { border: none; }
    Editor { scrollbar-size: 1 1; }
    Editor .text-area--cursor { text-style: reverse; background: ansi_default; color: ansi_default; }
    Editor .text-area--selection { text-style: reverse; background: ansi_default; color: ansi_default; }
    #offers { height: auto; max-height: 11; display: none; border-top: solid ansi_default; }
    .name { width: 21; }
    """
    )

    def __init__(self, model: Model, file: DraftFile, settings: Settings) -> None:
        """Edit the draft of a file with continuations by a model."""
        super().__init__()
        self.draft_screen = DraftScreen(model, file, settings, self.call_later, self.fail)
        self.work = self.draft_screen.worker

    def on_mount(self) -> None:
        """Show the draft, and ask about text that was not saved."""
        self.push_screen(self.draft_screen)
        self.call_later(self.draft_screen.ask_about_recovery)

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text; that of the draft with the author's own characters."""
        super().copy_to_clipboard(reveal(text) if self.screen is self.draft_screen else text)

    async def action_quit(self) -> None:
        """Quit from any screen; ask first if something is not saved."""
        if not isinstance(self.screen, Choice):
            self.draft_screen.action_leave()

    def action_help_quit(self) -> None:
        """Quit by Ctrl-C from a dialog, as by Ctrl-Q."""
        if not isinstance(self.screen, Choice):
            self.draft_screen.action_leave()
