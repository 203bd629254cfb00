package demo

import "syscall"

// childOf makes a child of its own group, so that Ctrl-C is ours alone, that
// ends when we do.
func childOf() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
