package golden

// commandExpectations are those of every command's ways, in the recording's
// words.
var commandExpectations = map[string]expectation{
	// A resource file that cannot be read is named.
	"list-path-config-null":           {exit: 1, stderr: unreadable + "not a JSON object\n"},
	"config-bind-two-part-unloadable": {exit: 1, stderr: unreadable + "bindToAdd[0]: Wrong bind format: /a:/x,err bind must have two : in string\n"},
	"corrupt-config":                  {exit: 1, stderr: unreadable + "invalid character 'n' looking for beginning of object key string\n"},
	"empty-config-file": {exit: 1, stderr: unreadable +
		"empty file: an interrupted write of an older version; restore it, or write {} to it to forget what was recorded\n"},

	"isula-info-fails": {},

	"isula-not-installed": {exit: 1, stderr: "iSulad's containers: open /var/lib/isulad/engines/lcr/" + containerID + "/config.v2.json: no such file or directory; " +
		"no container gold of podman in /var/lib/containers/storage; no container gold of runc in /run/runc; no container gold of crun in /run/crun; " +
		"isula, iSulad's client, is not installed\n"},
	"unknown-container-add-device": {exit: 1, stderr: "Error response from daemon: Inspect container error: No such container:nosuch: exit status 1\n"},

	"global-unknown-flag":   {exit: 1, stdout: sameOutput, stderr: "flag provided but not defined: -bogus\n"},
	"log-file-unwritable":   {exit: 1, stderr: "open /no/such/dir/x.log: no such file or directory\n"},
	"log-level-bad":         {exit: 1, stderr: `unknown log-level "loud": want debug, info, warn, error, fatal or panic` + "\n"},
	"syslog-bad":            {exit: 1, stderr: `unknown syslog-service "bogus://x": want unix://PATH, udp://HOST:PORT or tcp://HOST:PORT` + "\n"},
	"syslog-bad-log-stdout": {exit: 1, stdout: "time=\"<TIME>\" level=error msg=x\n", stderr: `unknown syslog-service "bogus://x": want unix://PATH, udp://HOST:PORT or tcp://HOST:PORT` + "\n"},
}

const (
	resourceFile = "/var/lib/isulad/engines/lcr/" + containerID + "/device_hook.json: "
	unreadable   = "Failed to list path in container: " + resourceFile
)
