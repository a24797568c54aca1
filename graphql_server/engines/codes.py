"""What the errors of MySQL and MariaDB mean, by their numbers, and what the operator can do about each.

https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html and
https://mariadb.com/kb/en/mariadb-error-code-reference/
"""

from collections.abc import Mapping

from graphql_server.engines import Failure

MEANINGS: Mapping[int, Failure] = {
    number: failure
    for failure, numbers in (
        # A deadlock, a lock that was waited for too long, a row that was changed meanwhile (MariaDB), a statement that
        # must be prepared anew, and the two ways in which Group Replication says "again".
        (Failure("transient"), (1213, 1205, 1020, 1615, 1180, 3101)),
        # Shutting down; the line is broken; killed; a member that has lost the others of its cluster, or may not
        # commit; idle for too long; a statement that a proxy has prepared elsewhere.
        (
            Failure("away"),
            (1047, 1053, 1152, *range(1158, 1162), 1184, 1243, 1317, 1927, 2006, 2013, 3100, 3169, 4031),
        ),
        (
            Failure("away", "raise the database's limit of connections, or lower WORKERS or DATABASE_POOL"),
            (1040, 1135, 1203, 1226),
        ),
        (Failure("away", "raise max_prepared_stmt_count, or lower WORKERS or DATABASE_POOL"), (1461,)),
        # The host may not connect, or was shut out; the password is wrong or has expired; the account is locked.
        (
            Failure("away", "make the account, its password and its host in DATABASE_URL right"),
            (1045, 1049, 1129, 1130, 1698, 1820, 1862, 3118, 4151),
        ),
        (
            Failure("away", "point DATABASE_URL to the primary, or let this one be written"),
            (1036, 1290, 1792, 1836, 1874),
        ),
        (Failure("away", "make room on the database's disk"), (3, 1021, 1026, 1030, 1114)),
        (Failure("away", "give the database more memory"), (1037, 1038, 1041, 1206)),
        (Failure("slow", "see docs/operating.md, Scaling, for what an index serves"), (1969, 3024)),
        # On the database, a table, a column, for something special, for a routine.
        (Failure("denied", "grant the privilege"), (1044, 1142, 1143, 1227, 1370)),
        # A table, a column, a value for one, an index.
        (
            Failure("unfit", "run graphql-server migrate, of the servers' version"),
            (1051, 1054, 1136, 1146, 1176, 1364, 1932),
        ),
        (Failure("unfit", "repair the table, or restore it from a backup"), (126, 127, 1034, 1035, 1194, 1195)),
        (Failure("unfit", "raise max_allowed_packet"), (1153,)),
        (Failure("unfit", "see what Group Replication requires of tables and settings"), (3098,)),
    )
    for number in numbers
}
UNKNOWN = Failure("unfit", "look the number up in the database's manual")
