"""Every morning: read each user's inbox, summarise it, wait for approval, send the brief."""
