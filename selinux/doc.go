// Package selinux readies a host and its system containers for SELinux: it makes
// the host permissive, and has a container label its own files at its first
// start. It knows nothing of policies.
package selinux
