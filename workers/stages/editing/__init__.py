"""Stage ``edit``: one module per editor, and the stage that asks them one after another."""
