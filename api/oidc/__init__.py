"""OpenID Connect: who may sign in to the page, and the conversation with their provider."""
