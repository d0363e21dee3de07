"""Rule-made twins of the error kinds: every false edit of a step that a kind allows, without a model."""
