//go:build !linux

package main

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

var errLinux = errors.New("the measurements read /proc and /sys: run them on Linux")

func checkPlatform() error                { return errLinux }
func childAttr() *syscall.SysProcAttr     { return nil }
func diskName(string) (string, error)     { return "", errLinux }
func syncData(*os.File) error             { return errLinux }
func reserve(*os.File, int64) error       { return errLinux }
func syncFileSystem(string) error         { return errLinux }
func deviceWritten(string) (int64, error) { return 0, errLinux }
func diskUsage(string) (int64, error)     { return 0, errLinux }
func setLowWater(net.Conn, int) error     { return errLinux }
func sleepUntil(time.Time, time.Duration) {}
