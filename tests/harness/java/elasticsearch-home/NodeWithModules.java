package harness;

import java.nio.file.Path;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;

/** A node before 8.18: it finds the modules below its home by itself, but wants to be a named module. */
final class NodeWithModules {
    static Node of(Environment environment, Path modules) {
        return new Node(environment);
    }
}
