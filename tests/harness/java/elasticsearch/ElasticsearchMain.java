package harness;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;

/**
 * One Elasticsearch node by its public API. Arguments: the folder of modules, the configuration folder, then settings as
 * key=value. Prints READY when it serves; ends by SIGTERM, or when standard input closes.
 */
public final class ElasticsearchMain {
    public static void main(String[] arguments) throws Exception {
        Path modules = Path.of(arguments[0]), configuration = Path.of(arguments[1]);
        Settings.Builder builder = Settings.builder();
        for (int i = 2; i < arguments.length; i++) {
            int equals = arguments[i].indexOf('=');
            builder.put(arguments[i].substring(0, equals), arguments[i].substring(equals + 1));
        }
        Settings settings = builder.build();
        LogConfigurator.configureWithoutConfig(settings); // without it org.elasticsearch.logging has no provider
        Environment environment = InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), configuration, () -> "harness");
        Node node = NodeWithModules.of(environment, modules);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.prepareForClose();
                node.close();
                node.awaitClose(20, TimeUnit.SECONDS);
            } catch (IOException | InterruptedException e) {
                e.printStackTrace();
            }
        }));
        node.start();
        System.out.println("READY " + ProcessHandle.current().pid());
        while (System.in.read() >= 0) { }
        System.exit(0);
    }
}
