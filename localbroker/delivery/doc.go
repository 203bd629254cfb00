// Package delivery serves files to devices by AWS IoT's MQTT-based file delivery:
// a device asks on $aws/things/THING/streams/STREAM/get/FORMAT for blocks of a
// file and gets them on .../data/FORMAT, in JSON or CBOR. Ids such as F61 are
// statements of the project's specification of file protocols.
//
//		Take → queue of the device → request → stream → blocks → Hand
//
//	  - Topics and requests (topic.go, request.go, jsonrequest.go, cborrequest.go,
//	    bitmap.go) are read as hostile: sizes before contents, closed lists, no
//	    allocation by a declared length. A fault (fault.go) is answered in both of
//	    AWS's spellings, and logged, because many devices do not listen for it.
//	  - Which blocks an answer has is decided by select.go, a pure function; nothing
//	    is remembered between two requests of a device.
//	  - A [Service] (service.go) is a localbroker.Family. Each device has a short queue of
//	    requests, one goroutine while there are any, and no more than a window of
//	    bytes that have not left for its socket (outbound.go): who reads slowly
//	    waits, and costs the others nothing.
//	  - Content comes from a source in chunks of 64 KiB, whatever block size devices
//	    ask for. A [Library] (library.go, snapshot.go) holds the streams that were
//	    defined here: what was hashed and copied at that moment, so that a file which
//	    is edited during a download cannot mix. A [Cloud] (cloud.go, fetch.go)
//	    fetches streams of AWS over a connection of its own, each chunk once however
//	    many devices want it, and keeps them in a [Cache] on disk (cache.go).
//	  - A chunk is known by stream, version, file and number, and has a checksum. A
//	    version is asked for by number everywhere, so that none mixes with another; a
//	    stream that was made anew under its version is told by its edition (stream.go).
//	  - Names that nobody has heard of are asked about in turns (turns.go): a device
//	    that asks for one after the other does not hold up the rest.
//	  - [Client] (client.go) asks for blocks: the Cloud has one, and so has the
//	    command that downloads a stream (download.go), which goes on where it was.
//
// When a stream of the cloud cannot be had now, devices are not answered: they ask
// again, while an error makes many of them give up.
package delivery
