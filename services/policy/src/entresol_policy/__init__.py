"""Policy: decides requests by rules as code, and collects people's approvals."""
