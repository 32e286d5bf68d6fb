package container

import "strings"

// ValidName tells whether an operator can mean a container by name: what
// ^/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$ matches.
func ValidName(name string) bool {
	name = strings.TrimPrefix(name, "/")
	return len(name) > 1 && made(name, "_.-")
}

// ValidID tells whether id can be a container's, or the beginning of one. It
// becomes a file's name, and with a little more a temporary file's.
func ValidID(id string) bool {
	return len(id) <= 240 && made(id, "_.-+")
}

// made tells whether s begins with a letter or digit and has only those and
// others in it. No regular expression: each start would pay for its tables.
func made(s, others string) bool {
	for i, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && strings.IndexByte(others, c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
