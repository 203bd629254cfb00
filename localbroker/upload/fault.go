package upload

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/ebbgate/ebbgate/bridge"
)

// Fault is why a command was refused: what the response message says, and the
// reason code of the PUBACK.
type Fault struct {
	Word string // reason_description: EMQX's words, and names of POSIX errors
	Code byte
}

// Error is the word.
func (f *Fault) Error() string { return f.Word }

// The faults. Code 0x80 asks the device to send again, 0x83 to give up, 0x97 to
// wait; with strict_emqx_codes all are 0x80.
var (
	errTopic        = &Fault{"invalid_topic", 0x80}
	errFileID       = &Fault{"invalid_fileid", 0x80}
	errCommand      = &Fault{"invalid_file_command", 0x80}
	errOffset       = &Fault{"invalid_offset", 0x80}
	errSize         = &Fault{"invalid_size", 0x80}
	errChecksum     = &Fault{"invalid_checksum", 0x80}
	errMismatch     = &Fault{"checksum_mismatch", 0x80}
	errJSON         = &Fault{"invalid_filemeta_json", 0x80}
	errMeta         = &Fault{"invalid_filemeta", 0x80}
	errMetaForGood  = &Fault{"invalid_filemeta", 0x83} // what EMQX would have taken, and we never do
	errConflict     = &Fault{"filemeta_conflict", 0x80}
	errIncomplete   = &Fault{"incomplete", 0x80}
	errReadSegment  = &Fault{"read_segment", 0x80}
	errTimeout      = &Fault{"timeout", 0x80}
	errGone         = &Fault{"noproc", 0x80}
	errInternal     = &Fault{"internal_error", 0x80}
	errNameTooLong  = &Fault{"enametoolong", 0x80}
	errTooBig       = &Fault{"efbig", 0x83}
	errTooSmall     = &Fault{"emsgsize", 0x83}
	errQuota        = &Fault{"edquot", 0x97} // of the client
	errNoSpace      = &Fault{"enospc", 0x97} // of all, or of the disk
	errBusy         = &Fault{"eagain", 0x97}
	errTwice        = &Fault{"qos2", 0x10} // F45
	errQoS0         = &Fault{"qos0", 0x80} // nobody sees the code
	errNoChecksum   = &Fault{"checksum_required", 0x80}
	errnoFaultWords = map[syscall.Errno]string{
		syscall.ENOSPC: "enospc", syscall.EDQUOT: "edquot", syscall.EACCES: "eacces", syscall.EPERM: "eperm", syscall.EROFS: "erofs",
		syscall.ENAMETOOLONG: "enametoolong", syscall.EIO: "eio", syscall.ENOTDIR: "enotdir", syscall.EISDIR: "eisdir", syscall.ENOENT: "enoent",
		syscall.EFBIG: "efbig", syscall.EMFILE: "emfile", syscall.EEXIST: "eexist", syscall.ENODEV: "enodev", syscall.ENOTCONN: "enotconn", syscall.ESTALE: "estale",
	}
)

// faultOfExport is what a fin is told, with export mode direct, of what kept the
// file from its target (F52): but for a file that is too
// big, sending fin again may help.
func faultOfExport(k bridge.Kind) *Fault {
	switch k {
	case bridge.Corrupt:
		return errReadSegment
	case bridge.TooLarge:
		return errTooBig
	case bridge.Full:
		return errNoSpace
	}
	return errInternal
}

// faultOf finds the words of an error of the disk.
func faultOf(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	if e, ok := errors.AsType[*bridge.Error](err); ok {
		switch {
		case errors.Is(e, bridge.ErrHeld):
			return errBusy
		case e.Op == bridge.OpExport:
			return faultOfExport(e.Kind)
		case e.Kind == bridge.Full: // of the shelf
			return errNoSpace
		}
		return errBusy
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &Fault{"enoent", 0x80}
	}
	no, ok := errors.AsType[syscall.Errno](err)
	switch word := errnoFaultWords[no]; {
	case !ok || word == "":
		return errInternal
	case no == syscall.ENOSPC:
		return errNoSpace
	default:
		return &Fault{word, 0x80}
	}
}
