"""A shop in Django that sends its mails by Roost."""
