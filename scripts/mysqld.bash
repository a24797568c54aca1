# mysqld_in FOLDER: sets `mysqld` to the command that runs the server which fetch-mysql unpacked into FOLDER.
# It was built against a newer C library than a stable Debian has, so it runs with the one that came along.
mysqld_in() {
    local loader
    loader=$(echo "$1"/root/usr/lib/*/ld-linux-*.so.?)
    mysqld=("$loader" --library-path "$(dirname "$loader")" "$1/root/usr/sbin/mysqld")
}
