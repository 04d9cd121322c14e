"""The verbs: take in, enter, advance, plan, send, publish; the jobs and sensors that run them."""
