/** A worker that does not know when it is served. */
import { serveParallel } from "@evconn/listener/parallel";

serveParallel((conn) => conn.close());
serveParallel((conn) => conn.close());
