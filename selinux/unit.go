package selinux

// What a container gets. Its own init runs the script at every start; the first
// time it labels all files and starts the container once more.
const (
	scriptPath  = "/usr/bin/autorelabel_container"
	unitName    = "autorelabel.service"
	unitPath    = "/etc/systemd/system/" + unitName
	wantsPath   = "/etc/systemd/system/multi-user.target.wants/" + unitName
	wantsLink   = "../" + unitName
	upstartPath = "/etc/init/autorelabel.conf"
)

// Marks of the first start, all of them in the container's /.
const (
	markSystem = "/.autorelabel"              // the container's own SELinux tools look for it
	markScript = "/.autorelabel_in_container" // the script removes it when it is done
	markSeen   = "/.container_autorelabel"    // stays: later starts are not the first
)

// signature begins the unit: so it is told from one of the image.
const signature = "# Made by isulad-tools at each start of this container, and removed at its end.\n"

const script = `#!/bin/sh
# Made by isulad-tools. The container's init runs this early at every start.

mark=` + markScript + `
config=` + configPath + `

if [ -e "$mark" ]; then
	# The first start: no file has a label yet, so nothing may be refused.
	setenforce 0
	restorecon -R /
	# In any case: files that take no label must not make it start for ever.
	rm -f "$mark"
	sync
	reboot
	exit
fi

# All files have their labels: now what is configured may be enforced.
[ -r "$config" ] || exit 0
while IFS='=' read -r key value; do
	[ "$key" = SELINUX ] || continue
	case $value in
	[Ee][Nn][Ff][Oo][Rr][Cc][Ii][Nn][Gg]*) setenforce 1 ;;
	*) setenforce 0 ;;
	esac
	break
done <"$config"
`

// systemdUnit runs before what could be refused for want of labels.
const systemdUnit = signature + `[Unit]
Description=Label the files of this container for SELinux at its first start
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutSec=0
ExecStart=` + scriptPath + `
`

const upstartJob = signature + `description "Label the files of this container for SELinux at its first start"
start on local-filesystems
task
exec ` + scriptPath + `
`
