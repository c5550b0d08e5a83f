"""What an attacker, or an application that logs too much, cannot get past the shipper."""
