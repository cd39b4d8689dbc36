"""The client; `roost.sdk._async` is written by hand, `roost.sdk._sync` is made from it."""
