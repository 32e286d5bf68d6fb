// Package packages tests the packages that `make packages` makes: what is in
// them, and what becomes of a host on which dpkg or rpm installs, upgrades and
// removes them. It knows nothing of what the program does.
package packages
