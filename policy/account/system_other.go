//go:build !unix

package account

import "os"

// lockFile does nothing where files cannot be locked without more: two pulls
// into one folder are then the user's to avoid.
func lockFile(*os.File) error { return nil }

// syncFolder does nothing where folders cannot be synced.
func syncFolder(string) error { return nil }
