"""The door in, over HTTP: webhooks now, the API, counted links and the inbox as they come. Does not import Dagster."""
