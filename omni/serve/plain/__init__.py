"""OpenAI's plain HTTP endpoints over the stages of the running pipeline, one module each."""
