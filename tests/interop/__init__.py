"""What the server's users already have, tried on the server: clients, gateways, generators and tools."""
