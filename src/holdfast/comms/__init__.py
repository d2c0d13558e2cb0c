"""What the team, merchants and the public are told: team channels, mails, the status page."""
