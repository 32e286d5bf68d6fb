package install

import (
	"bytes"
	"strings"
)

// rotation is the file that tells logrotate(8) of the udev helper's logs.
const rotation = "/etc/logrotate.d/isulad-tools"

// rotationRule is for logs that the helper opens, and makes when missing, at each event
// of a disk: nobody has to be told that one was renamed.
func rotationRule() []byte {
	var logs []string
	for _, g := range generations {
		logs = append(logs, "/var/log/hyperagent/"+g.tools+".log")
	}
	return []byte(strings.Join(logs, " ") + ` {
	weekly
	maxsize 1M
	rotate 4
	compress
	missingok
	notifempty
	nocreate
}
`)
}

// placeRotation leaves alone what an operator has there.
func placeRotation(t *tree) (result, error) {
	want := rotationRule()
	info, err := t.lstat(rotation)
	if err != nil {
		return result{}, err
	}
	if info != nil && !same(t, rotation, info, want, 0o644) {
		return result{"kept", "edited, or somebody else's"}, nil
	}
	return deploy(t, rotation, want, 0o644, true)
}

// isRotation tells whether the file is as we wrote it.
func isRotation(t *tree) bool {
	have, err := t.read(rotation, limit)
	return err == nil && bytes.Equal(have, rotationRule())
}
