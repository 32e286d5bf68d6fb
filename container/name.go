package container

import (
	"strings"

	"isula.org/isulad-tools/internal/atomicfile"
	"isula.org/isulad-tools/internal/place"
)

// ValidName tells whether an operator can mean a container by name: what
// ^/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$ matches.
func ValidName(name string) bool {
	name = strings.TrimPrefix(name, "/")
	return len(name) > 1 && hasOnly(name[:1], "") && hasOnly(name, "_.-")
}

// ValidID tells whether id can be a container's: what runc takes, which is more
// than iSulad makes. It becomes a file's name, and is never that of a temporary
// file.
func ValidID(id string) bool {
	switch {
	case id == "", id == ".", id == "..", len(id) > 240, atomicfile.IsTemporary(id):
		return false
	}
	return hasOnly(id, "_.-+")
}

// WordMeans tells whether word stands for container id in a udev rule.
func WordMeans(word, id string) bool { return word == id || word == place.Short(id) }

// hasOnly tells whether s has only letters, digits and others in it. No regular
// expression: each start would pay for its tables.
func hasOnly(s, others string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte(others, c) >= 0:
		default:
			return false
		}
	}
	return true
}
