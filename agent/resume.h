/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the agent does when it has stood still, or may have: sandboxes are paused, saved, and started again, even many
 * times from one saved state. */

struct app;
struct resume;

/* Begins to watch the clocks, once the loop has been set up; every resume is noted in @app's metrics. */
struct resume *resume_new(struct app *app);
/* Nothing is done any more from here on. Returns NULL; harmless on NULL. */
struct resume *resume_free(struct resume *r);
