"""Chat and text completions in OpenAI's shapes, answered by the generation workers."""
