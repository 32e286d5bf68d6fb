package golden

// pending is a case that needs a kind of resource which is not served yet.
type pending struct {
	waitsFor string
	refusal  string // part of what prestart says until then; "": not run
}

// later is the one list of what is not replayed yet.
var later = map[string]pending{
	"hook-prestart-disk-udev-rule":        {"B: block devices", "block"},
	"hook-prestart-disk-udev-rule-exists": {"B: block devices", "block"},
	"hook-prestart-lsblk-missing":         {"B: block devices", "block"},
	"hook-poststop-udev-rule":             {"B: block devices", ""},

	"hook-prestart-qos":            {"C: I/O limits", "I/O limits"},
	"hook-prestart-qos-renumbered": {"C: I/O limits", "I/O limits"},
	"hook-prestart-qos-vanished":   {"C: I/O limits", "I/O limits"},

	"hook-prestart-nic-bad-ip":          {"D: network interfaces", "network interface"},
	"hook-prestart-nic-bad-type":        {"D: network interfaces", "network interface"},
	"hook-prestart-nic-eth":             {"D: network interfaces", "network interface"},
	"hook-prestart-nic-eth-missing":     {"D: network interfaces", "network interface"},
	"hook-prestart-nic-host-name-taken": {"D: network interfaces", "network interface"},
	"hook-prestart-nic-missing-bridge":  {"D: network interfaces", "network interface"},
	"hook-prestart-nic-routes":          {"D: network interfaces", "network interface"},
	"hook-prestart-nic-two":             {"D: network interfaces", "network interface"},
	"hook-prestart-nic-veth":            {"D: network interfaces", "network interface"},
	"hook-poststop-eth":                 {"D: network interfaces", ""},
	"hook-poststop-nics":                {"D: network interfaces", ""},
	"hook-poststop-nics-still-there":    {"D: network interfaces", ""},

	"hook-prestart-route-empty-rule":  {"D: routes", "route"},
	"hook-prestart-route-missing-dev": {"D: routes", "route"},
	"hook-prestart-route-unreachable": {"D: routes", "route"},

	"hook-userns-device":              {"E: user namespaces", ""},
	"hook-userns-mapping-not-from-0":  {"E: user namespaces", ""},
	"hook-userns-other-graph-devices": {"E: user namespaces", ""},
	"hook-userns-sysctl-net":          {"E: user namespaces", ""},
}
