/* One broadcast's process: `transcode-child`, started by the supervisor as `transcoder child <broadcast> <token> <0|1>`
 * (1: the media at the checkpoint has killed predecessors, begin at the ring's newest key frame).
 *
 * Hears on standard input, a line each: "ended" (the broadcast is over: finish it), "drain" (stop at the next segment);
 * its end means that the supervisor died. Says on standard output, once a second, one JSON object with its figures
 * (see child_status.h). Logs on standard error as every service does. */
#pragma once

#define CHILD_EXIT_DONE   0 /* drained, or the end marker is written */
#define CHILD_EXIT_FAILED 1 /* try again */
#define CHILD_EXIT_BROKEN 2 /* configuration: trying again will not help */
#define CHILD_EXIT_FENCED 3 /* somebody else has the lease */

int child_main(int argc, char **argv);
/* `transcoder probe`: fills GStreamer's registry cache and says on standard output, in one line, which backend and
 * which AAC encoder there are: "cpu avenc_aac". Status 0, or 2 with the reason. */
int probe_main(void);
