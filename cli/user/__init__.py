"""Commands that speak to a service over HTTP, through the client. Nothing here touches a database."""
