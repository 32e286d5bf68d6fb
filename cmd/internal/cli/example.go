package cli

// examples are what help and manual show of each command. A test runs them, in this
// order, on a container web that does not run and is not iSulad's only one.
var examples = []struct {
	command string
	lines   []string
}{
	{"add-device", []string{
		"isulad-tools add-device web /dev/sdb:/dev/data:rw",
		"isulad-tools add-device --device-read-bps /dev/sdc:10m web /dev/sdc",
		"isulad-tools add-device --select usb:0403:6001:A50285BI web /dev/modem",
	}},
	{"update-device", []string{"isulad-tools update-device --device-write-iops /dev/sdb:500 web"}},
	{"list-device", []string{"isulad-tools list-device --pretty web"}},
	{"remove-device", []string{
		"isulad-tools remove-device web /dev/sdb:/dev/data",
		"isulad-tools remove-device --select usb:0403:6001:A50285BI web",
	}},
	{"add-path", []string{"isulad-tools add-path web /srv/data:/data:ro"}},
	{"list-path", []string{"isulad-tools list-path web"}},
	{"remove-path", []string{"isulad-tools remove-path web /srv/data:/data"}},
	{"add-nic", []string{"isulad-tools add-nic --type veth --name eth1 --ip 172.17.28.2/24 --bridge br0 web"}},
	{"update-nic", []string{"isulad-tools update-nic --name eth1 --mtu 1400 web"}},
	{"list-nic", []string{`isulad-tools list-nic --filter '{"ip":"172.17.28.2/24"}' web`}},
	{"add-route", []string{`isulad-tools add-route web '[{"dest":"10.0.0.0/8","gw":"172.17.28.1"}]'`}},
	{"list-route", []string{"isulad-tools list-route web"}},
	{"remove-route", []string{`isulad-tools remove-route web '[{"dest":"10.0.0.0/8"}]'`}},
	{"remove-nic", []string{"isulad-tools remove-nic --name eth1 web"}},
	{"add-module", []string{"isulad-tools add-module web ip_vs"}},
	{"list-module", []string{"isulad-tools list-module --format table"}},
	{"check-module", []string{"isulad-tools check-module ip_vs"}},
	{"remove-module", []string{"isulad-tools remove-module web ip_vs"}},
	{"inspect", []string{"isulad-tools inspect web", "isulad-tools inspect --format '{{.Name}}' web"}},
	{"check", []string{"isulad-tools check web", "isulad-tools check --all"}},
	{"repair", []string{"isulad-tools repair --dry-run web"}},
	{"who", []string{"isulad-tools who /dev/sdb"}},
	{"doctor", []string{"isulad-tools doctor --format json"}},
	{"install", []string{"isulad-tools install --root /host"}},
	{"uninstall", []string{"isulad-tools uninstall --root /host"}},
	{"relabel", []string{"isulad-tools relabel --dry-run"}},
	{"completion", []string{"isulad-tools completion bash >/usr/share/bash-completion/completions/isulad-tools"}},
	{"manual", []string{"isulad-tools manual add-device | man -l -"}},
}

func exampleOf(command string) []string {
	for _, e := range examples {
		if e.command == command {
			return e.lines
		}
	}
	return nil
}
