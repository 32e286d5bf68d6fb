package logging

import (
	"io"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
)

// Helper returns the logger of the udev helper: to its own file and to syslog.
// What stands in the way of either is said once on warn, and does not keep from
// the other.
func Helper(name, file string, warn io.Writer) *logrus.Logger {
	// It is an operator's to look into, and theirs to remove: made when missing.
	_ = os.Mkdir(filepath.Dir(file), 0o750)
	log := Hook(name, file, warn)
	log.SetOutput(io.MultiWriter(log.Out, toSyslog(name, "udev ", warn).Out))
	return log
}
