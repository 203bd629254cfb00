//go:build !linux

package demo

import "syscall"

// childOf makes an ordinary child: only Linux can tie its life to ours.
func childOf() *syscall.SysProcAttr { return nil }
