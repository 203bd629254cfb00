package localbroker

import (
	"errors"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// Uploads is the family of file transfer, $file/… and its like, by that service.
func Uploads(s *upload.Service) LargeFamily { return uploads{s} }

type uploads struct{ *upload.Service }

// Owns implements Family.
func (u uploads) Owns(profile, topic string) bool { return upload.Owns(profile, topic) }

// LargestPacket implements LargeFamily.
func (u uploads) LargestPacket(profile string) int {
	if !upload.Owns(profile, "$file/") {
		return 0
	}
	return u.Service.LargestPacket()
}

// Subscribes implements Family.
func (u uploads) Subscribes(who *bridge.Principal, filter string) bool {
	return upload.MaySubscribe(who.ClientID, filter)
}

// Take implements Family. A refusal is counted and logged as file-WORD.
func (u uploads) Take(r FamilyRequest, done func(error)) {
	u.Service.Take(upload.Request{
		ClientID: r.From.ClientID, May: r.May, Message: r.Message, PacketID: r.PacketID, After: r.After,
	}, func(err error) {
		if f, ok := errors.AsType[*upload.Fault](err); ok {
			err = Answered("file-"+f.Word, f.Code)
		}
		done(err)
	})
}
