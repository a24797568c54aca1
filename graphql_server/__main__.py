"""`python -m graphql_server` is the command `graphql-server`."""

from graphql_server.cli import main

if __name__ == "__main__":
    main()
